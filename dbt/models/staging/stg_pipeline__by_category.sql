with

source as (
    select * from {{ source('pipeline', 'processed_by_category') }}
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
    from source
)

select * from final
