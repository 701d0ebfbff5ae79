with

days as (
    select * from {{ ref('stg_pipeline__by_day') }}
),

final as (
    select
        day,
        record_count,
        total_value,
        discounted_value
    from days
)

select * from final
