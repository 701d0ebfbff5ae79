with

source as (
    select * from {{ source('pipeline', 'processed_by_day') }}
),

final as (
    select
        day,
        record_count,
        total_value,
        discounted_value
    from source
)

select * from final
