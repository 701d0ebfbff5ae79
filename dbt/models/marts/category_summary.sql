with

categories as (
    select * from {{ ref('stg_pipeline__by_category') }}
),

final as (
    select
        category,
        record_count,
        value_average,
        value_minimum,
        value_maximum,
        total_value,
        discounted_value
    from categories
)

select * from final
